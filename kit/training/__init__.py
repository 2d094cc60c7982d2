"""From labelled images to a run folder: backbone, bottlenecks, head, converted and scored files."""
