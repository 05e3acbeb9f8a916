"""The layouts that a dataset can be exported in, one module each; `kinds.KINDS` names them."""
