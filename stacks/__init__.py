"""What runs groves: the program, the engine behind it, and the command line."""
