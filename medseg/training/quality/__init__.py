"""Fits the prediction of a mask's Dice, and says how good the prediction is."""
