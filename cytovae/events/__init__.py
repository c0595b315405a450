"""Events and markers: files of any format, channel names, panels, compensation, transforms."""
