"""Read programs written for Prefect 3, say what works here, and change their imports.

`flowspan migrate` is its command. It needs libcst: ``pip install 'flowspan[migrate]'``.
"""
