/* gradc.h is a C header: this file is compiled as C. */
#include "runtime/gradc.h"

int gradc_header_compiles(const gradc_image* image);
int gradc_header_compiles(const gradc_image* image) {
  gradc_options options = {0};
  gradc_model* model = 0;
  char message[200];
  gradc_status status = gradc_create(image, &options, &model, message, sizeof message);
  gradc_destroy(model);
  return (int)status;
}
