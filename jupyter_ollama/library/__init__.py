"""The models on disk: names, manifests, blobs, GGUF headers, Modelfiles and their making."""
