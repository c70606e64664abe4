"""Taking a buyer on: what it really sends becomes terms, and terms become what both sides are told in writing.

Pure: bytes and terms in, values out. Reading and writing files is the command line's business.
"""
