/* A preloaded library that makes the Vulkan driver of a test small, or lets it fail.
 *
 *   VK_TEST_HEAP        bytes that the device states to have, and has
 *   VK_TEST_REAL_HEAP   bytes that it has: less than it states
 *   VK_TEST_LOST        a file: the device is lost as soon as it exists
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vulkan/vulkan.h>

enum { MOST = 4096 };

static struct { VkDeviceMemory memory; VkDeviceSize size; } held[MOST];
static VkDeviceSize used;

static PFN_vkGetPhysicalDeviceMemoryProperties memory_properties;
static PFN_vkGetPhysicalDeviceMemoryProperties2 memory_properties2;
static PFN_vkAllocateMemory allocate;
static PFN_vkFreeMemory release;
static PFN_vkQueueSubmit submit;

static VkDeviceSize setting(const char *name, VkDeviceSize otherwise) {
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

static void shrink(VkPhysicalDeviceMemoryProperties *found) {
    for (uint32_t i = 0; i < found->memoryHeapCount; i++)
        found->memoryHeaps[i].size = setting("VK_TEST_HEAP", found->memoryHeaps[i].size);
}

static void my_memory_properties(VkPhysicalDevice device, VkPhysicalDeviceMemoryProperties *found) {
    memory_properties(device, found);
    shrink(found);
}

static void my_memory_properties2(VkPhysicalDevice device, VkPhysicalDeviceMemoryProperties2 *found) {
    memory_properties2(device, found);
    shrink(&found->memoryProperties);
    for (VkBaseOutStructure *next = found->pNext; next; next = next->pNext) {
        if (next->sType != VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT) continue;
        VkPhysicalDeviceMemoryBudgetPropertiesEXT *budget = (void *)next;
        for (uint32_t i = 0; i < found->memoryProperties.memoryHeapCount; i++) {
            budget->heapBudget[i] = found->memoryProperties.memoryHeaps[i].size;
            budget->heapUsage[i] = used;
        }
    }
}

static VkResult my_allocate(VkDevice device, const VkMemoryAllocateInfo *info,
                            const VkAllocationCallbacks *callbacks, VkDeviceMemory *memory) {
    VkDeviceSize most = setting("VK_TEST_REAL_HEAP", setting("VK_TEST_HEAP", ~0ull));
    if (used + info->allocationSize > most) return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    VkResult result = allocate(device, info, callbacks, memory);
    for (int i = 0; result == VK_SUCCESS && i < MOST; i++) {
        if (held[i].size) continue;
        held[i].memory = *memory;
        held[i].size = info->allocationSize;
        used += info->allocationSize;
        break;
    }
    return result;
}

static void my_free(VkDevice device, VkDeviceMemory memory, const VkAllocationCallbacks *callbacks) {
    for (int i = 0; i < MOST; i++) {
        if (!held[i].size || held[i].memory != memory) continue;
        used -= held[i].size;
        held[i].size = 0;
    }
    release(device, memory, callbacks);
}

static VkResult my_submit(VkQueue queue, uint32_t count, const VkSubmitInfo *infos, VkFence fence) {
    const char *lost = getenv("VK_TEST_LOST");
    if (lost && access(lost, F_OK) == 0) return VK_ERROR_DEVICE_LOST;
    return submit(queue, count, infos, fence);
}

#define REPLACE(function, original, own)                        \
    if (strcmp(name, function) == 0) {                          \
        original = (void *)found;                               \
        return (PFN_vkVoidFunction)own;                         \
    }

VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL vkGetInstanceProcAddr(VkInstance instance, const char *name) {
    PFN_vkGetInstanceProcAddr next = (PFN_vkGetInstanceProcAddr)dlsym(RTLD_NEXT, "vkGetInstanceProcAddr");
    if (!next) {  /* libvulkan is loaded with a backend, after this library and out of its sight */
        void *vulkan = dlopen("libvulkan.so.1", RTLD_NOW);
        next = (PFN_vkGetInstanceProcAddr)dlsym(vulkan, "vkGetInstanceProcAddr");
    }
    PFN_vkVoidFunction found = next(instance, name);
    if (!found) return found;
    REPLACE("vkGetPhysicalDeviceMemoryProperties", memory_properties, my_memory_properties)
    REPLACE("vkGetPhysicalDeviceMemoryProperties2", memory_properties2, my_memory_properties2)
    REPLACE("vkAllocateMemory", allocate, my_allocate)
    REPLACE("vkFreeMemory", release, my_free)
    REPLACE("vkQueueSubmit", submit, my_submit)
    return found;
}
