"""One module a subject: pure functions from a resource's inputs to messages, and policies made of them."""
