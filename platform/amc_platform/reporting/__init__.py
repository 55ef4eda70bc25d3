"""The paper's kind of table, the page and the picture, made from hits, journals and galleries."""
