/* Captures as the crate v4l does: lists /dev, makes its ioctls through syscall(), polls; five buffers. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
static int call(int fd, unsigned long request, void *argument) { return syscall(SYS_ioctl, fd, request, argument); }
static void probe(const char *name) {
    char path[300];
    snprintf(path, sizeof path, "/dev/%s", name);
    int fd = open(path, O_RDWR | O_NONBLOCK);
    struct v4l2_capability capability;
    call(fd, VIDIOC_QUERYCAP, &capability);
    struct v4l2_format format = {.type = V4L2_BUF_TYPE_VIDEO_CAPTURE};
    call(fd, VIDIOC_G_FMT, &format);
    printf("%s %s", name, capability.card);
    if (call(fd, VIDIOC_S_FMT, &format) < 0) { printf(" error %d\n", errno); return; }
    struct v4l2_requestbuffers request = {.count = 4, .type = format.type, .memory = V4L2_MEMORY_MMAP};
    call(fd, VIDIOC_REQBUFS, &request);
    unsigned char *at[8];
    for (unsigned index = 0; index < request.count; index++) {
        struct v4l2_buffer buffer = {.index = index, .type = format.type, .memory = V4L2_MEMORY_MMAP};
        call(fd, VIDIOC_QUERYBUF, &buffer);
        at[index] = mmap(NULL, buffer.length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, buffer.m.offset);
        call(fd, VIDIOC_QBUF, &buffer);
    }
    call(fd, VIDIOC_STREAMON, &format.type);
    printf(" %.4s frames", (char *)&format.fmt.pix.pixelformat);
    for (int count = 0; count < 5; count++) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        if (poll(&wait, 1, 2000) != 1) { printf(" timeout"); break; }
        struct v4l2_buffer buffer = {.type = format.type, .memory = V4L2_MEMORY_MMAP};
        if (call(fd, VIDIOC_DQBUF, &buffer) < 0) { printf(" error %d", errno); break; }
        unsigned char *picture = at[buffer.index];
        unsigned number = buffer.sequence;
        if (format.fmt.pix.pixelformat == V4L2_PIX_FMT_YUYV) {
            unsigned width = format.fmt.pix.width;
            number = 0;
            for (int bit = 0; bit < 24; bit++) number = number * 2 + (picture[(width * 20 + bit * 40 + 20) * 2] > 126);
        } else if (picture[0] != 0xff || picture[1] != 0xd8) number = 999;
        printf(" %u", number);
        call(fd, VIDIOC_QBUF, &buffer);
    }
    printf("\n");
    call(fd, VIDIOC_STREAMOFF, &format.type);
    close(fd);
}
int main(void) {
    DIR *folder = opendir("/dev");
    for (struct dirent *entry; (entry = readdir(folder));)
        if (!strncmp(entry->d_name, "video", 5)) probe(entry->d_name);
    closedir(folder);
    return 0;
}
