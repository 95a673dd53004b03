"""A hostile campaign: people and machines disturb three pools of one server at random while clients work.

`make nemesis` runs it. The promises that it checks are those of operator/docs/explanation/promises.md.
"""
