"""Results of the stages of a campaign: frozen objects, passed unchanged from the task to the page."""
