"""Everything that reads text or bytes from outside, fed with what nobody would write.

``parsers`` lists what is read, by whom, and what each may say about it. The suite runs it on seeds and mutations;
``python3 dev.py fuzz`` lets atheris look for ways that no test goes.
"""
