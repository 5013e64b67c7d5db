"""Alpaca, fenced in: alpaca-py speaks its protocols; deadlines, retries, back-off and the reading of answers are ours.

Importing `market` or `broker` brings alpaca-py with it, ten megabytes and half a second: only where trading is on.
"""
