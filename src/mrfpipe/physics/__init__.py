"""Physics: what a voxel of water or fat emits during a sequence."""
