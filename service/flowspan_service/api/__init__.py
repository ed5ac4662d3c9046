"""The gRPC edge: translate, call one use case, translate back."""
