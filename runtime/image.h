/* What a compiled artifact contains beside the runtime: the program as data and its kernels. */
#ifndef GRADC_IMAGE_H
#define GRADC_IMAGE_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GRADC_ABI 3 /* Program.abi: raised with every change of program.fbs or of this file that old runtimes would misread */

/* A kernel over units [begin, end). args: inputs, then results, 64-byte aligned. scratch: private to the thread. */
typedef void (*gradc_kernel)(char* const* args, int64_t begin, int64_t end, char* scratch);

typedef struct gradc_image {
  const uint8_t* program; /* FlatBuffer, root gradc.program.Program */
  size_t program_size;
  const gradc_kernel* kernels; /* in the order of Program.kernels */
  size_t packed_size;          /* if not 0: program is that many bytes of zlib, program_size what they unpack to */
} gradc_image;

#ifdef __cplusplus
}
#endif
#endif
