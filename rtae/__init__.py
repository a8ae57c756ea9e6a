"""RTAE: play music through a neural autoencoder, in real time, and bend its latent space while it sounds."""

__version__ = "0.1.0"
