/* VK_EXT_layer_settings for ggml's Vulkan backend, where the headers of the host are older than it.
 *
 * ggml names these types in any case, but uses them only with the validation layer. Debian 12 and
 * Ubuntu 22.04 have headers without them; CMakeLists.txt includes this file before ggml's.
 */
#pragma once

#include <vulkan/vulkan_core.h>

#if VK_HEADER_VERSION < 272

#include <cstdint>
#include <vector>

namespace vk {

enum class LayerSettingTypeEXT { eBool32 = 0 };

struct LayerSettingEXT {
    const char * pLayerName;
    const char * pSettingName;
    LayerSettingTypeEXT type;
    uint32_t valueCount;
    const void * pValues;
};

struct LayerSettingsCreateInfoEXT {
    VkStructureType sType = static_cast<VkStructureType>(1000496000);
    const void * pNext = nullptr;
    uint32_t settingCount;
    const LayerSettingEXT * pSettings;

    explicit LayerSettingsCreateInfoEXT(const std::vector<LayerSettingEXT> & settings)
        : settingCount(static_cast<uint32_t>(settings.size())), pSettings(settings.data()) {}
};

}  // namespace vk

#endif
