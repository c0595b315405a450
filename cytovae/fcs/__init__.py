"""FCS files: reading and writing.

:func:`cytovae.fcs.file.open_fcs` reads and checks HEADER and TEXT, but no event. :meth:`FcsFile.read` and
:meth:`FcsFile.chunks` decode only the selected rows and columns. A file that cannot be trusted raises one
:class:`cytovae.errors.FcsError`; an oddity that can be resolved safely becomes a sentence in ``FcsFile.notes``.

Supported are FCS 2.0 to 3.2 in list mode with $DATATYPE F, D and I: integers of 8, 16, 24, 32 and 64 bits, mixed
widths, both byte orders, 10-bit values in 16-bit words (Beckman Coulter), and a type per channel ($PnDATATYPE). ASCII
data, histograms and mixed byte orders raise an error. 64-bit integers above 2^53 lose their last digits in float64.

Values are raw: no gain ($PnG), no clipping at $PnR, no compensation. The exception is the log amplification $PnE of
integer data, which is applied because those integers are only channel numbers of a logarithmic amplifier.

:mod:`cytovae.fcs.write` writes FCS 3.1 with float32 values, or float64 where float32 is not exact.

The modules in the order in which data flows: ``keywords`` (TEXT to names and values), ``fcsparser_check`` (a second
opinion on TEXT), ``text`` (HEADER, TEXT and data sets), ``channels``, ``layout`` and ``placement`` (what DATA holds
and where), ``shifted_data`` (signs that it is elsewhere), ``selection`` and ``decode`` (rows and columns to values),
``file``, ``write_text`` and ``write``.
"""
