"""What the stages of a campaign give: frozen results, from the task to the page."""
