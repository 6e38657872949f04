"""Hardware that speaks the wire, written apart from the product: the two share no code.

`camera` ONVIF and RTSP with real H.264 · `mqtt` panic buttons, turnstiles, intercoms ·
`opscenter` the receiver that checks and can fail on demand · `district` all of it together.
"""
