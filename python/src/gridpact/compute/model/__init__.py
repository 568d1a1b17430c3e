"""The mathematics of each kind of task, in the words of the field and free of messages."""
