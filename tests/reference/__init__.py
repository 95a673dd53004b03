"""The generated tables of operator/docs/reference, each made of the code that it describes."""
