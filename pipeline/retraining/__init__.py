"""Retraining the text model from what people search for.

Each step is a module that runs alone: ``capture`` keeps queries, ``roll`` writes them hour by hour
to the object store, ``prepare`` makes of them what a model is trained on. No web and no torch here.
"""
