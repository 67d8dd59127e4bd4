/*
 * Emulated V4L2 cameras for one process, loaded with LD_PRELOAD.
 *
 * A folder (AHOY_LAB_CAMERAS) describes the cameras and controls them while the process runs:
 *
 *   video0            text, one statement a line:
 *                       name Lab Camera
 *                       mode YUYV 1280x720 30        (frames per second; 30000/1001 is possible)
 *                       mode MJPG 1280x720 30        (pictures from MJPG-1280x720/NNNN.jpg, in turn)
 *                       metadata                     (a node that delivers no pictures)
 *   video0.gone       unplugged: not listed, every call on an open one fails with ENODEV
 *   video0.stall      delivers no more frames while this exists
 *   video0.busy       another program streams: EBUSY as from a driver
 *   video0.denied     open() fails with EACCES
 *
 * and this library writes what the process does, for tests to look at:
 *
 *   video0.streaming  exists while it streams; holds e.g. "YUYV 1280x720 30/1"
 *   video0.frames     if a test made this file: a line per delivered frame, number and Unix time in us
 *
 * Streaming locks the camera across processes, as drivers do. YUYV pictures carry the frame stamp
 * of the test clips and content that moves. Only what a capturing program needs is emulated:
 * streaming by memory-mapped buffers, discrete sizes and rates, no controls.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { MAX_CAMERAS = 8, MAX_OPEN = 32, MAX_MODES = 32, MAX_BUFFERS = 8 };

struct mode {
    uint32_t format, width, height;
    struct v4l2_fract interval;
};

struct description {
    char name[32];
    int metadata;
    struct mode modes[MAX_MODES];
    int mode_count;
};

struct buffer {
    int queued, done;
    uint32_t used, sequence;
    struct timeval at;
};

/* One open file description. `fd` is an eventfd that is readable while a frame waits. */
struct handle {
    int in_use, fd, camera, nonblocking;
    struct description description;
    struct mode mode;
    int memory;               /* memfd behind the buffers, -1 without buffers */
    uint8_t *mapped;
    uint32_t buffer_size, buffer_count;
    struct buffer buffers[MAX_BUFFERS];
    uint32_t ready[MAX_BUFFERS];  /* filled buffers, oldest first */
    uint32_t ready_count;
    int streaming, lock;
    uint32_t sequence, jpeg_count;
    pthread_t thread;
    uint8_t *texture;         /* two periods of YUYV, scrolled through the picture */
};

static struct handle handles[MAX_OPEN];
static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

/* Descriptors that are cameras; looked at without the guard, since every close() and mmap() asks. */
enum { MAX_FD = 4096 };
static _Atomic unsigned char is_camera[MAX_FD];

/* The function that this library covers up, looked up once. */
#define REAL(name)                                                               \
    ({                                                                           \
        static __typeof__(&name) next;                                           \
        if (!next) next = (__typeof__(&name))real_function(#name);               \
        next;                                                                    \
    })

static void *real_function(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) abort();
    return found;
}

/* ---- the control folder */

static const char *control_folder(void) { return getenv("AHOY_LAB_CAMERAS"); }

static void control_path(char *path, size_t size, int camera, const char *suffix) {
    snprintf(path, size, "%s/video%d%s", control_folder(), camera, suffix);
}

static int flagged(int camera, const char *suffix) {
    char path[512];
    control_path(path, sizeof path, camera, suffix);
    return faccessat(AT_FDCWD, path, F_OK, 0) == 0;
}

static int present(int camera) { return flagged(camera, "") && !flagged(camera, ".gone"); }

static uint32_t fourcc(const char *text) { return v4l2_fourcc(text[0], text[1], text[2], text[3]); }

static int describe(int camera, struct description *out) {
    char path[512], line[256];
    control_path(path, sizeof path, camera, "");
    memset(out, 0, sizeof *out);
    FILE *file = fopen(path, "re");
    if (!file) return -1;
    while (fgets(line, sizeof line, file)) {
        char format[5] = "";
        unsigned width, height, rate, scale = 1;
        line[strcspn(line, "\n")] = 0;
        if (!strncmp(line, "name ", 5)) {
            snprintf(out->name, sizeof out->name, "%.31s", line + 5);
        } else if (!strcmp(line, "metadata")) {
            out->metadata = 1;
        } else if (sscanf(line, "mode %4s %ux%u %u/%u", format, &width, &height, &rate, &scale) >= 4 &&
                   strlen(format) == 4 && rate && scale && out->mode_count < MAX_MODES) {
            out->modes[out->mode_count++] =
                (struct mode){fourcc(format), width, height, {.numerator = scale, .denominator = rate}};
        }
    }
    fclose(file);
    return 0;
}

/* The number in "/dev/video7", or -1. */
static int camera_of_path(const char *path) {
    int camera, end = 0;
    if (!control_folder() || !path || sscanf(path, "/dev/video%d%n", &camera, &end) != 1 || path[end]) return -1;
    return camera >= 0 && camera < MAX_CAMERAS ? camera : -1;
}

/* ---- pictures */

/* Room for one picture; for MJPEG, as cameras say, more than a JPEG needs. */
static uint32_t picture_size(const struct mode *mode) {
    return mode->format == V4L2_PIX_FMT_MJPEG ? mode->width * mode->height : mode->width * mode->height * 2;
}

static void draw_texture(struct handle *handle) {
    uint32_t width = handle->mode.width, height = handle->mode.height, seed = 7;
    handle->texture = malloc((size_t)width * 2 * 2 * height);
    if (!handle->texture) abort();
    for (uint32_t y = 0; y < height; y++) {
        uint8_t *row = handle->texture + (size_t)y * width * 4;
        for (uint32_t x = 0; x < width; x++) {
            if (x % 4 == 0) seed = seed * 1664525 + 1013904223;
            row[x * 2] = 60 + ((x / 16 + y / 16) % 5) * 24 + (seed >> 28);
            row[x * 2 + 1] = x % 2 ? 108 + (y / 40) % 40 : 148 - (x / 32) % 40;
        }
        memcpy(row + (size_t)width * 2, row, (size_t)width * 2);
    }
}

static uint8_t crc8(const uint8_t *bytes, int count) {
    uint8_t crc = 0;
    while (count--) {
        crc ^= *bytes++;
        for (int bit = 0; bit < 8; bit++) crc = crc & 0x80 ? (uint8_t)(crc << 1) ^ 0x07 : crc << 1;
    }
    return crc;
}

static uint32_t draw_yuyv(struct handle *handle, uint8_t *picture) {
    uint32_t width = handle->mode.width, height = handle->mode.height, number = handle->sequence & 0xffffff;
    uint32_t shift = (number * 4 % width) & ~1u;
    for (uint32_t y = 0; y < height; y++)
        memcpy(picture + (size_t)y * width * 2, handle->texture + (size_t)y * width * 4 + shift * 2, (size_t)width * 2);
    uint8_t bytes[4] = {number >> 16, number >> 8, number, 0};
    bytes[3] = crc8(bytes, 3);
    uint32_t cell = width / 32;
    for (uint32_t y = 0; y < cell; y++)
        for (uint32_t x = 0; x < cell * 32; x++) {
            uint8_t *at = picture + ((size_t)y * width + x) * 2;
            at[0] = bytes[x / cell / 8] >> (7 - x / cell % 8) & 1 ? 235 : 16;
            at[1] = 128;
        }
    return width * height * 2;
}

static void jpeg_path(char *path, size_t size, const struct handle *handle, uint32_t number) {
    snprintf(path, size, "%s/MJPG-%ux%u/%04u.jpg", control_folder(), handle->mode.width, handle->mode.height, number);
}

static void count_jpegs(struct handle *handle) {
    char path[600];
    do jpeg_path(path, sizeof path, handle, handle->jpeg_count);
    while (access(path, R_OK) == 0 && ++handle->jpeg_count);
}

/* Copies the next JPEG of the folder; 0 bytes, as a real camera delivers at times, when it is missing. */
static uint32_t copy_jpeg(struct handle *handle, uint8_t *picture) {
    char path[600];
    if (!handle->jpeg_count) return 0;
    jpeg_path(path, sizeof path, handle, handle->sequence % handle->jpeg_count);
    int file = REAL(open)(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    ssize_t size = read(file, picture, picture_size(&handle->mode));
    REAL(close)(file);
    return size > 0 ? size : 0;
}

/* ---- the camera's own thread: fills a queued buffer at every frame interval */

static int next_queued(const struct handle *handle) {
    int oldest = -1;
    for (uint32_t index = 0; index < handle->buffer_count; index++)
        if (handle->buffers[index].queued && !handle->buffers[index].done &&
            (oldest < 0 || handle->buffers[index].sequence < handle->buffers[oldest].sequence))
            oldest = index;
    return oldest;
}

static void note_frame(const struct handle *handle, uint32_t number) {
    char path[512], line[64];
    struct timespec now;
    control_path(path, sizeof path, handle->camera, ".frames");
    int file = REAL(open)(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (file < 0) return;
    clock_gettime(CLOCK_REALTIME, &now);
    int length = snprintf(line, sizeof line, "%u %lld\n", number, now.tv_sec * 1000000ll + now.tv_nsec / 1000);
    if (write(file, line, length) < 0) abort();
    REAL(close)(file);
}

static void wake(struct handle *handle) {
    uint64_t one = 1;
    if (write(handle->fd, &one, sizeof one) < 0 && errno != EAGAIN) abort();
    pthread_cond_broadcast(&changed);
}

static void *deliver(void *argument) {
    struct handle *handle = argument;
    struct timespec due;
    clock_gettime(CLOCK_MONOTONIC, &due);
    uint64_t step = 1000000000ull * handle->mode.interval.numerator / handle->mode.interval.denominator;
    pthread_mutex_lock(&guard);
    while (handle->streaming) {
        pthread_mutex_unlock(&guard);
        due.tv_nsec += step % 1000000000;
        due.tv_sec += step / 1000000000 + due.tv_nsec / 1000000000;
        due.tv_nsec %= 1000000000;
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
        pthread_mutex_lock(&guard);
        if (!handle->streaming) break;
        if (!present(handle->camera)) {
            wake(handle); /* so that a waiting poll() learns of it */
            continue;
        }
        if (flagged(handle->camera, ".stall")) continue;
        int index = next_queued(handle);
        if (index >= 0) {
            struct buffer *buffer = &handle->buffers[index];
            uint8_t *picture = handle->mapped + (size_t)index * handle->buffer_size;
            struct timespec now;
            clock_gettime(CLOCK_MONOTONIC, &now);
            buffer->used = handle->mode.format == V4L2_PIX_FMT_MJPEG ? copy_jpeg(handle, picture)
                                                                     : draw_yuyv(handle, picture);
            buffer->at = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
            buffer->sequence = handle->sequence;
            buffer->done = 1;
            handle->ready[handle->ready_count++] = index;
            note_frame(handle, handle->sequence);
            wake(handle);
        }
        handle->sequence++; /* without a queued buffer the frame is lost, as in a driver */
    }
    pthread_mutex_unlock(&guard);
    return NULL;
}

/* ---- ioctls; the guard is held */

static int fail(int error) {
    errno = error;
    return -1;
}

static const struct mode *find_mode(const struct description *description, uint32_t format, uint32_t width,
                                    uint32_t height, int index) {
    for (int at = 0; at < description->mode_count; at++) {
        const struct mode *mode = &description->modes[at];
        if ((!format || mode->format == format) && (!width || (mode->width == width && mode->height == height)) &&
            index-- == 0)
            return mode;
    }
    return NULL;
}

static void fill_format(const struct mode *mode, struct v4l2_pix_format *pix) {
    memset(pix, 0, sizeof *pix);
    pix->width = mode->width;
    pix->height = mode->height;
    pix->pixelformat = mode->format;
    pix->field = V4L2_FIELD_NONE;
    pix->bytesperline = mode->format == V4L2_PIX_FMT_MJPEG ? 0 : mode->width * 2;
    pix->sizeimage = picture_size(mode);
    pix->colorspace = V4L2_COLORSPACE_SRGB;
}

static int query_capabilities(struct handle *handle, struct v4l2_capability *out) {
    memset(out, 0, sizeof *out);
    snprintf((char *)out->driver, sizeof out->driver, "ahoy-lab");
    snprintf((char *)out->card, sizeof out->card, "%s", handle->description.name);
    snprintf((char *)out->bus_info, sizeof out->bus_info, "platform:lab-%d", handle->camera);
    out->version = 0x060100;
    out->device_caps = (handle->description.metadata ? V4L2_CAP_META_CAPTURE : V4L2_CAP_VIDEO_CAPTURE) |
                       V4L2_CAP_STREAMING | V4L2_CAP_EXT_PIX_FORMAT;
    out->capabilities = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_META_CAPTURE | V4L2_CAP_STREAMING |
                        V4L2_CAP_EXT_PIX_FORMAT | V4L2_CAP_DEVICE_CAPS;
    return 0;
}

static int enumerate_format(struct handle *handle, struct v4l2_fmtdesc *out) {
    uint32_t seen[MAX_MODES], count = 0;
    if (handle->description.metadata || out->type != V4L2_BUF_TYPE_VIDEO_CAPTURE) return fail(EINVAL);
    for (int at = 0; at < handle->description.mode_count; at++) {
        uint32_t format = handle->description.modes[at].format, known = 0;
        for (uint32_t index = 0; index < count; index++) known |= seen[index] == format;
        if (!known) seen[count++] = format;
    }
    if (out->index >= count) return fail(EINVAL);
    out->pixelformat = seen[out->index];
    out->flags = out->pixelformat == V4L2_PIX_FMT_MJPEG ? V4L2_FMT_FLAG_COMPRESSED : 0;
    snprintf((char *)out->description, sizeof out->description, "%.4s", (char *)&out->pixelformat);
    return 0;
}

static int enumerate_size(struct handle *handle, struct v4l2_frmsizeenum *out) {
    uint32_t count = 0;
    const struct description *description = &handle->description;
    for (int at = 0; at < description->mode_count; at++) {
        const struct mode *mode = &description->modes[at];
        if (mode->format != out->pixel_format) continue;
        if (find_mode(description, mode->format, mode->width, mode->height, 0) != mode) continue;
        if (count++ == out->index) {
            out->type = V4L2_FRMSIZE_TYPE_DISCRETE;
            out->discrete.width = mode->width;
            out->discrete.height = mode->height;
            return 0;
        }
    }
    return fail(EINVAL);
}

static int enumerate_interval(struct handle *handle, struct v4l2_frmivalenum *out) {
    const struct mode *mode =
        find_mode(&handle->description, out->pixel_format, out->width, out->height, out->index);
    if (!mode) return fail(EINVAL);
    out->type = V4L2_FRMIVAL_TYPE_DISCRETE;
    out->discrete = mode->interval;
    return 0;
}

/* The mode nearest to what is asked, as S_FMT and TRY_FMT answer (V4L2, "Negotiating data formats"). */
static const struct mode *nearest(const struct handle *handle, const struct v4l2_pix_format *wanted) {
    const struct mode *best = NULL;
    uint64_t best_distance = UINT64_MAX;
    for (int at = 0; at < handle->description.mode_count; at++) {
        const struct mode *mode = &handle->description.modes[at];
        int64_t dx = (int64_t)mode->width - wanted->width, dy = (int64_t)mode->height - wanted->height;
        uint64_t distance = (uint64_t)(dx * dx + dy * dy) + (mode->format == wanted->pixelformat ? 0 : 1ull << 40);
        if (distance < best_distance) best_distance = distance, best = mode;
    }
    return best;
}

static int format(struct handle *handle, unsigned long request, struct v4l2_format *out) {
    if (out->type != V4L2_BUF_TYPE_VIDEO_CAPTURE || !handle->description.mode_count) return fail(EINVAL);
    if (request == VIDIOC_G_FMT) {
        fill_format(&handle->mode, &out->fmt.pix);
        return 0;
    }
    if (request == VIDIOC_S_FMT && (handle->buffer_count || flagged(handle->camera, ".busy"))) return fail(EBUSY);
    const struct mode *mode = nearest(handle, &out->fmt.pix);
    if (request == VIDIOC_S_FMT) handle->mode = *mode;
    fill_format(mode, &out->fmt.pix);
    return 0;
}

static int parameters(struct handle *handle, unsigned long request, struct v4l2_streamparm *out) {
    if (out->type != V4L2_BUF_TYPE_VIDEO_CAPTURE || !handle->description.mode_count) return fail(EINVAL);
    if (request == VIDIOC_S_PARM) {
        if (handle->streaming || flagged(handle->camera, ".busy")) return fail(EBUSY);
        struct v4l2_fract wanted = out->parm.capture.timeperframe;
        double best = 1e9, asked = wanted.denominator ? (double)wanted.numerator / wanted.denominator : 0;
        const struct mode *mode;
        struct mode current = handle->mode;
        for (int index = 0;
             (mode = find_mode(&handle->description, current.format, current.width, current.height, index)); index++) {
            double distance = (double)mode->interval.numerator / mode->interval.denominator - asked;
            if (distance < 0) distance = -distance;
            if (distance < best) best = distance, handle->mode = *mode;
        }
    }
    memset(&out->parm, 0, sizeof out->parm);
    out->parm.capture.capability = V4L2_CAP_TIMEPERFRAME;
    out->parm.capture.timeperframe = handle->mode.interval;
    out->parm.capture.readbuffers = 4;
    return 0;
}

static void free_buffers(struct handle *handle) {
    if (handle->memory >= 0) {
        munmap(handle->mapped, (size_t)handle->buffer_size * handle->buffer_count);
        REAL(close)(handle->memory);
    }
    if (handle->lock >= 0) REAL(close)(handle->lock);
    handle->memory = handle->lock = -1;
    handle->mapped = NULL;
    handle->buffer_count = 0;
    memset(handle->buffers, 0, sizeof handle->buffers);
}

/* Only one process at a time owns the buffers of a camera. */
static int lock_camera(struct handle *handle) {
    char path[512];
    if (flagged(handle->camera, ".busy")) return fail(EBUSY);
    control_path(path, sizeof path, handle->camera, "");
    handle->lock = REAL(open)(path, O_RDONLY | O_CLOEXEC);
    if (handle->lock < 0) return fail(ENODEV);
    if (flock(handle->lock, LOCK_EX | LOCK_NB) == 0) return 0;
    REAL(close)(handle->lock);
    handle->lock = -1;
    return fail(EBUSY);
}

static int request_buffers(struct handle *handle, struct v4l2_requestbuffers *out) {
    if (out->type != V4L2_BUF_TYPE_VIDEO_CAPTURE || out->memory != V4L2_MEMORY_MMAP) return fail(EINVAL);
    if (handle->streaming) return fail(EBUSY);
    free_buffers(handle);
    out->capabilities = V4L2_BUF_CAP_SUPPORTS_MMAP;
    if (out->count == 0) return 0;
    if (lock_camera(handle) < 0) return -1;
    if (out->count > MAX_BUFFERS) out->count = MAX_BUFFERS;
    if (out->count < 2) out->count = 2;
    uint32_t page = sysconf(_SC_PAGESIZE);
    handle->buffer_size = (picture_size(&handle->mode) + page - 1) / page * page;
    handle->buffer_count = out->count;
    size_t total = (size_t)handle->buffer_size * handle->buffer_count;
    handle->memory = memfd_create("lab-camera", MFD_CLOEXEC);
    if (handle->memory < 0 || ftruncate(handle->memory, total) < 0) return fail(ENOMEM);
    handle->mapped = REAL(mmap)(NULL, total, PROT_READ | PROT_WRITE, MAP_SHARED, handle->memory, 0);
    if (handle->mapped == MAP_FAILED) return fail(ENOMEM);
    return 0;
}

static void fill_buffer(const struct handle *handle, uint32_t index, struct v4l2_buffer *out) {
    const struct buffer *buffer = &handle->buffers[index];
    out->index = index;
    out->bytesused = buffer->used;
    out->flags = V4L2_BUF_FLAG_MAPPED | V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC |
                 (buffer->queued ? V4L2_BUF_FLAG_QUEUED : 0) | (buffer->done ? V4L2_BUF_FLAG_DONE : 0);
    out->field = V4L2_FIELD_NONE;
    out->timestamp = buffer->at;
    out->sequence = buffer->sequence;
    out->memory = V4L2_MEMORY_MMAP;
    out->m.offset = index * handle->buffer_size;
    out->length = picture_size(&handle->mode);
}

static int queue_buffer(struct handle *handle, struct v4l2_buffer *in) {
    if (in->index >= handle->buffer_count || handle->buffers[in->index].queued) return fail(EINVAL);
    handle->buffers[in->index].queued = 1;
    handle->buffers[in->index].done = 0;
    return 0;
}

static int dequeue_buffer(struct handle *handle, struct v4l2_buffer *out) {
    uint64_t count;
    if (!handle->streaming) return fail(EINVAL);
    while (handle->ready_count == 0) {
        if (!present(handle->camera)) return fail(ENODEV);
        if (!handle->streaming) return fail(EINVAL);
        if (handle->nonblocking) return fail(EAGAIN);
        pthread_cond_wait(&changed, &guard);
    }
    uint32_t index = handle->ready[0];
    memmove(handle->ready, handle->ready + 1, --handle->ready_count * sizeof handle->ready[0]);
    fill_buffer(handle, index, out);
    handle->buffers[index].queued = handle->buffers[index].done = 0;
    if (handle->ready_count == 0 && read(handle->fd, &count, sizeof count) < 0 && errno != EAGAIN) abort();
    return 0;
}

static void note_streaming(struct handle *handle, int on) {
    char path[512];
    control_path(path, sizeof path, handle->camera, ".streaming");
    if (!on) {
        unlink(path);
        return;
    }
    FILE *file = fopen(path, "we");
    if (!file) return;
    fprintf(file, "%.4s %ux%u %u/%u\n", (char *)&handle->mode.format, handle->mode.width, handle->mode.height,
            handle->mode.interval.denominator, handle->mode.interval.numerator);
    fclose(file);
}

static int stream_on(struct handle *handle) {
    if (handle->streaming) return 0;
    if (handle->buffer_count == 0) return fail(EINVAL);
    draw_texture(handle);
    count_jpegs(handle);
    handle->streaming = 1;
    if (pthread_create(&handle->thread, NULL, deliver, handle) != 0) {
        handle->streaming = 0;
        return fail(ENOMEM);
    }
    note_streaming(handle, 1);
    return 0;
}

/* Ends the thread; the guard is let go meanwhile. */
static void stream_off(struct handle *handle) {
    uint64_t count;
    if (!handle->streaming) return;
    handle->streaming = 0;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&guard);
    pthread_join(handle->thread, NULL);
    pthread_mutex_lock(&guard);
    free(handle->texture);
    handle->texture = NULL;
    handle->ready_count = 0;
    for (uint32_t index = 0; index < handle->buffer_count; index++)
        handle->buffers[index].queued = handle->buffers[index].done = 0;
    if (read(handle->fd, &count, sizeof count) < 0 && errno != EAGAIN) abort();
    note_streaming(handle, 0);
}

static int serve(struct handle *handle, unsigned long request, void *argument) {
    if (!present(handle->camera)) {
        if (request == VIDIOC_STREAMOFF) stream_off(handle); /* the driver stopped it already */
        return fail(ENODEV);
    }
    switch (request) {
    case VIDIOC_QUERYCAP: return query_capabilities(handle, argument);
    case VIDIOC_ENUM_FMT: return enumerate_format(handle, argument);
    case VIDIOC_ENUM_FRAMESIZES: return enumerate_size(handle, argument);
    case VIDIOC_ENUM_FRAMEINTERVALS: return enumerate_interval(handle, argument);
    case VIDIOC_G_FMT:
    case VIDIOC_S_FMT:
    case VIDIOC_TRY_FMT: return format(handle, request, argument);
    case VIDIOC_G_PARM:
    case VIDIOC_S_PARM: return parameters(handle, request, argument);
    case VIDIOC_REQBUFS: return request_buffers(handle, argument);
    case VIDIOC_QUERYBUF: {
        struct v4l2_buffer *buffer = argument;
        if (buffer->index >= handle->buffer_count) return fail(EINVAL);
        fill_buffer(handle, buffer->index, buffer);
        return 0;
    }
    case VIDIOC_QBUF: return queue_buffer(handle, argument);
    case VIDIOC_DQBUF: return dequeue_buffer(handle, argument);
    case VIDIOC_STREAMON: return stream_on(handle);
    case VIDIOC_STREAMOFF: stream_off(handle); return 0;
    case VIDIOC_QUERYCTRL:
    case VIDIOC_QUERY_EXT_CTRL: return fail(EINVAL); /* no controls */
    case VIDIOC_G_INPUT: *(int *)argument = 0; return 0;
    case VIDIOC_S_INPUT: return *(int *)argument == 0 ? 0 : fail(EINVAL);
    default: return fail(ENOTTY);
    }
}

/* ---- open, close and mmap */

static struct handle *find(int fd) {
    for (int index = 0; index < MAX_OPEN; index++)
        if (handles[index].in_use && handles[index].fd == fd) return &handles[index];
    return NULL;
}

static int ours(int fd) { return fd >= 0 && fd < MAX_FD && is_camera[fd]; }

static int open_camera(int camera, int flags) {
    if (!present(camera)) return fail(ENOENT);
    if (flagged(camera, ".denied")) return fail(EACCES);
    pthread_mutex_lock(&guard);
    for (int index = 0; index < MAX_OPEN; index++) {
        struct handle *handle = &handles[index];
        if (handle->in_use) continue;
        memset(handle, 0, sizeof *handle);
        if (describe(camera, &handle->description) < 0) break;
        if (handle->description.mode_count) handle->mode = handle->description.modes[0];
        handle->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        handle->camera = camera;
        handle->nonblocking = (flags & O_NONBLOCK) != 0;
        handle->memory = handle->lock = -1;
        if (handle->fd < 0 || handle->fd >= MAX_FD) break;
        handle->in_use = 1;
        is_camera[handle->fd] = 1;
        pthread_mutex_unlock(&guard);
        return handle->fd;
    }
    pthread_mutex_unlock(&guard);
    return fail(EMFILE);
}

static int serve_fd(int fd, unsigned long request, void *argument, int *result) {
    if (!ours(fd)) return 0;
    pthread_mutex_lock(&guard);
    struct handle *handle = find(fd);
    if (handle) *result = serve(handle, (uint32_t)request, argument);
    pthread_mutex_unlock(&guard);
    return handle != NULL;
}

int close(int fd) {
    if (!ours(fd)) return REAL(close)(fd);
    pthread_mutex_lock(&guard);
    struct handle *handle = find(fd);
    if (handle) {
        stream_off(handle);
        free_buffers(handle);
        handle->in_use = 0;
        is_camera[fd] = 0;
    }
    pthread_mutex_unlock(&guard);
    return REAL(close)(fd);
}

void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
    if (!ours(fd)) return REAL(mmap)(address, length, protection, flags, fd, offset);
    pthread_mutex_lock(&guard);
    struct handle *handle = find(fd);
    int memory = handle ? handle->memory : -1;
    pthread_mutex_unlock(&guard);
    if (memory < 0) {
        errno = EINVAL;
        return MAP_FAILED;
    }
    return REAL(mmap)(NULL, length, protection, flags, memory, offset);
}

void *mmap64(void *address, size_t length, int protection, int flags, int fd, off64_t offset) {
    return mmap(address, length, protection, flags, fd, offset);
}

/* /sys/class/video4linux/videoN/name is answered from a file with the name in the control folder. */
static int open_name(const char *path) {
    int camera, end = 0;
    struct description description;
    if (!control_folder() || sscanf(path, "/sys/class/video4linux/video%d/name%n", &camera, &end) != 1 || !end ||
        path[end])
        return -2;
    if (camera < 0 || camera >= MAX_CAMERAS || !present(camera) || describe(camera, &description) < 0)
        return fail(ENOENT);
    int file = memfd_create("lab-camera-name", MFD_CLOEXEC);
    dprintf(file, "%s\n", description.name);
    lseek(file, 0, SEEK_SET);
    return file;
}

#define OPEN_BODY(call_real)                                                     \
    mode_t mode = 0;                                                             \
    if (flags & (O_CREAT | __O_TMPFILE)) {                                       \
        va_list rest;                                                            \
        va_start(rest, flags);                                                   \
        mode = va_arg(rest, mode_t);                                             \
        va_end(rest);                                                            \
    }                                                                            \
    int camera = camera_of_path(path);                                           \
    if (camera >= 0) return open_camera(camera, flags);                          \
    int name = open_name(path);                                                  \
    return name != -2 ? name : call_real;

int open(const char *path, int flags, ...) { OPEN_BODY(REAL(open)(path, flags, mode)) }
int open64(const char *path, int flags, ...) { OPEN_BODY(REAL(open64)(path, flags, mode)) }
int openat(int at, const char *path, int flags, ...) { OPEN_BODY(REAL(openat)(at, path, flags, mode)) }
int openat64(int at, const char *path, int flags, ...) { OPEN_BODY(REAL(openat64)(at, path, flags, mode)) }

int ioctl(int fd, unsigned long request, ...) {
    va_list rest;
    va_start(rest, request);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    int result;
    return serve_fd(fd, request, argument, &result) ? result : REAL(ioctl)(fd, request, argument);
}

/* The crate `v4l` makes its ioctls through syscall(). */
long syscall(long number, ...) {
    long a[6];
    va_list rest;
    va_start(rest, number);
    for (int index = 0; index < 6; index++) a[index] = va_arg(rest, long);
    va_end(rest);
    int result;
    if (number == SYS_ioctl && serve_fd((int)a[0], (unsigned long)a[1], (void *)a[2], &result)) return result;
    return REAL(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* ---- listing /dev */

static DIR *listing;      /* the open listing of /dev; one at a time is enough for these tests */
static int listed;        /* next camera to list */

DIR *opendir(const char *path) {
    DIR *folder = REAL(opendir)(path);
    if (folder && control_folder() && (!strcmp(path, "/dev") || !strcmp(path, "/dev/"))) {
        listing = folder;
        listed = MAX_CAMERAS - 1; /* a real listing is in no order either: last one first */
    }
    return folder;
}

int closedir(DIR *folder) {
    if (folder == listing) listing = NULL;
    return REAL(closedir)(folder);
}

#define READDIR(function, entry_type)                                            \
    entry_type *function(DIR *folder) {                                          \
        static __thread entry_type entry;                                        \
        if (folder != listing) return REAL(function)(folder);                    \
        for (; listed >= 0; listed--)                                            \
            if (present(listed)) {                                               \
                memset(&entry, 0, sizeof entry);                                 \
                entry.d_ino = 9000 + listed;                                     \
                entry.d_type = DT_CHR;                                           \
                entry.d_reclen = sizeof entry;                                   \
                snprintf(entry.d_name, sizeof entry.d_name, "video%d", listed--); \
                return &entry;                                                   \
            }                                                                    \
        entry_type *found;                                                       \
        do found = REAL(function)(folder);                                       \
        while (found && !strncmp(found->d_name, "video", 5)); /* hides real ones */ \
        return found;                                                            \
    }
READDIR(readdir, struct dirent)
READDIR(readdir64, struct dirent64)
