"""The results section of Hou et al. 2016 for any data set: four models at equal budget, and one report."""
