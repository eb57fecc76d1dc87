/* std_streams.h - standard input, output and error are open. */
#ifndef SHARED_IO_STD_STREAMS_H
#define SHARED_IO_STD_STREAMS_H

/* To be called first in main: opens /dev/null for those of the three that the caller left closed.
 * Otherwise the next file or socket would get that number, and be what a message is written into. */
void std_streams_open(void);

#endif
