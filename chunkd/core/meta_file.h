/* meta_file.h - header of a meta log file. */
#ifndef CHUNKD_CORE_META_FILE_H
#define CHUNKD_CORE_META_FILE_H

#include "chunkd/core/meta_log.h"

void meta_file_header_encode(uint64_t number, uint8_t out[META_FILE_HEADER_BYTES]);
/* 0, ERR_CORRUPT, or -EPROTONOSUPPORT for another format. */
MUST_CHECK int meta_file_header_decode(uint64_t number, const uint8_t in[META_FILE_HEADER_BYTES]);

#endif
