"""Pictures of studies: one function a file, from tables to a matplotlib figure that nobody has saved yet.

Each file ``x.py`` has ``draw_x``, which takes data frames or results of ``studies.results.stats`` and returns a
`matplotlib.figure.Figure`; `studies.results.figures.style.save` writes it as PNG and SVG. A function that has nothing
to draw raises `studies.results.figures.style.NothingToDraw`, whose text says what is missing and how to get it.
"""
