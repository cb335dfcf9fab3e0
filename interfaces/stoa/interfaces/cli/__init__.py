"""The command-line door. One module per command; `app.py` lists them."""
