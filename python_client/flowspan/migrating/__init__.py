"""Migration of programs from Prefect 3: report what works here, and change the imports.

`flowspan migrate` is its command. It needs libcst: ``pip install 'flowspan[migrate]'``.
"""
