"""How good a model is: labelled texts in, measures and refusals out, as a report to read."""
