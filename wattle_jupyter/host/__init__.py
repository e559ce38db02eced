"""What runs beside the tasks: the keeper, parent and reaper of all tasks of a store on one host.

Standard library only, and nothing heavy from it: the keeper starts in some 30 ms and stays small.
"""
