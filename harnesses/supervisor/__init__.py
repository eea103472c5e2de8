"""What runs inside a box: prepares HOME, runs the harness, relays its output, brings its work home.

Python's standard library only, and no import of the rest of Coppice: the directory is copied into images that
have nothing but a ``python3``, and started there as ``python3 -I /opt/coppice/supervisor``.

Everything the harness leaves behind (output, processes, the workspace and its ``.git``) is hostile input.
"""
