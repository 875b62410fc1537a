"""The methods, one module each: plain functions from arrays to labels."""
