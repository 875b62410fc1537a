"""Thousands of damaged files and odd arguments: a right answer or a kind error, and no file is changed.

`mutations` damages bytes, `seeds` are the sound files it begins with, `targets` are what is tried, `case` judges one
try, `pool` runs tries in processes that may crash, hang or eat memory, and `run` is the command.
"""
