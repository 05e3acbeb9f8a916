"""Configs that ship with defocal, as TOML files beside this one."""
