"""The parts of the window: each shows one side of the controller and asks it for things."""
