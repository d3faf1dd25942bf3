"""Jobs on the stored calls of a study."""
