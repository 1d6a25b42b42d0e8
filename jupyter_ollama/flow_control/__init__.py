"""Flow control: the memory of bodies and unread answers, and the time of long decoding."""
