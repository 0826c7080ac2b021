"""What clients may rely on, made from the models: an AsyncAPI document, and TypeScript types."""
