"""Events and markers: files of any format, channel names, panels, compensation and transforms.

An :class:`cytovae.events.event_file.EventFile` offers raw values by channel. A panel selects the channels that are
markers, compensation and a transform turn raw values into marker values, and
:class:`cytovae.events.marker_file.MarkerFile` combines the three.
"""
