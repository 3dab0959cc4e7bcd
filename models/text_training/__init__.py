"""A sentence encoder trained further on what a directory's visitors look for.

`vocabulary` gives its tokenizer the words it lacks, `train` trains it, `evaluate` measures it by
its vectors alone, and `search` looks for a better recipe. torch is imported where it is used.
"""
