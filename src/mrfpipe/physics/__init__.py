"""Physics: what the components of a voxel emit during a sequence."""
