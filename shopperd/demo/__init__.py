"""The demo: the real daemon against the built-in simulator, as separate processes over real HTTP, with troubles on.

What belongs here: starting and ending the processes, the story that is played, what is shown of it, and the comparison of what
the daemon believes with what is true. What does not: anything that a deployment needs. Nothing imports this but its command.
"""
