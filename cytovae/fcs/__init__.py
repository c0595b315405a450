"""FCS files: read with :func:`cytovae.fcs.file.open_fcs`, written with :func:`cytovae.fcs.write.write_fcs`."""
