"""Hardware that is known by name. `device/*.yaml` is also the group `device` of the configs."""
