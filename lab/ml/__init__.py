"""The lab's data and its models: real images, training, cards."""
